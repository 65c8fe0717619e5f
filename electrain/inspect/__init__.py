"""`electrain inspect`: a local page that shows what a model makes of a text, token by token."""
