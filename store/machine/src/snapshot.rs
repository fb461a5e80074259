//! A consistent copy of the state in chunks, while writes go on.
