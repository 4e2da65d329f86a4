//! What works on this kernel, what does not, why, and the remedy.
