//! Faults: what is left when things die, fill up or are damaged at the wrong moment.
