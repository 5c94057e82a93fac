"""Study B as its teaching notebook runs it: minimally repaired, and with its flaws repaired one at a time."""
