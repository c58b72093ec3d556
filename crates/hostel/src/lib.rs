//! hostel as a library.
