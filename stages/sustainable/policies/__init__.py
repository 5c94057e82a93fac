"""Study B: environments, the policies that are trained in them, and how a policy acts."""
