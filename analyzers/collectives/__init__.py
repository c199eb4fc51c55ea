"""What a job was doing: collective operations joined to packets, or recognised from them.

Rules and their sources: ``docs/collectives.md``. Nothing here knows a scenario or a label.
"""
