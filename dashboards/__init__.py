"""What presents: the fabric command, reports and the dashboard; nothing is computed here."""
