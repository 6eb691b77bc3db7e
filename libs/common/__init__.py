"""Building blocks that at least two services share. Import from `libs.common.<module>`, never from here."""
