//! Native calls of exported tables.
