//! What is there: tables and streams, described as the lists show them.
