"""What every feature of stage 4 uses; it imports none of them."""
