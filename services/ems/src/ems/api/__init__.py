"""HTTP of the EMS, for operators: devices and their alarms, counters and samples; datastores and drift."""
