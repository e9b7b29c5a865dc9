"""`python -m rlt_client` is the `rlt` command."""

from rlt_client.cli import main

if __name__ == "__main__":
    main()
