"""What study B measures: deployed policies, windows of whole episodes, memory."""
