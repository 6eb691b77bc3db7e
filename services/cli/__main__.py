"""`python -m services.cli` is `shopbus` where the script is not installed."""

from services.cli.main import main

if __name__ == "__main__":
    main()
