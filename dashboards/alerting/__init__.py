"""What leaves the building: alerts, metrics, and dashboards for those who look elsewhere."""
