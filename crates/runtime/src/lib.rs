//! Process and reconcile shell.
