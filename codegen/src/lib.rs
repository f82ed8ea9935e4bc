//! Backends: from the memory IR to machine code or PTX.
