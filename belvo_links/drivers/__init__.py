"""What drivers of databases need around them, for the stores and limiters that use them."""
