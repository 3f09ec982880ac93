"""The parts of the front-end benchmark: peers, what the kernel does, what the page is asked."""
