//! Desired, live and inventory to a plan.
