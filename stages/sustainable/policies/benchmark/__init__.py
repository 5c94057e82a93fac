"""The measurements of study B: deployed policies, windows of whole episodes, memory."""
