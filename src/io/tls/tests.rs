mod connection;
mod identity;
mod pki;
mod reading;
