//! A scheduler that answers as told, in this process.
