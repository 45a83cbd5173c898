"""What goes over the wire in stage 4, one module for each kind of thing."""
