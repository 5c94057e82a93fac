"""Study B: environments, policies that are trained in them, their compression and their benchmark."""
