//! Transfers between regions.
