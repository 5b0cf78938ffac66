SET LOCAL pupctl.maintenance = on
