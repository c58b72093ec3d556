//! rtnetlink: links, addresses, routes in one batch.
