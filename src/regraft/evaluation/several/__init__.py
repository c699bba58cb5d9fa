"""Several targets of one image measured and shown: classes, numbers and key points, each by its kind."""
