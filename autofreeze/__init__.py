"""autofreeze: the best freezing schedule for a pretrained image model, found per data set."""
