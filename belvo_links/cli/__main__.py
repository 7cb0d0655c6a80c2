"""``python -m belvo_links.cli``, for where the command itself is not on the path."""

import sys

from belvo_links.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
