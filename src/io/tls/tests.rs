mod connection;
mod identity;
mod odd;
mod pki;
mod reading;
