"""HalfSeen."""
