"""One HTML page of one or more runs, complete in itself: it asks nothing of a network."""
