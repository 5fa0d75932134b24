//! `CloudWatch` series for charts.
