//! One client per cluster and identity; discovery; shared watches.
