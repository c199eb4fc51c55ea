"""Where packets go: equal ways, the choice between them, the load that follows, and its balance."""
