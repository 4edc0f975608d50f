//! The operation token: from the bytes in a header to a [`grant::Grant`], or to a refusal.

pub mod trust;
