//! A replica as a job.
