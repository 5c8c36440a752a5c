"""The SMS's peers over the bus: NMSs below, the BMS above."""
