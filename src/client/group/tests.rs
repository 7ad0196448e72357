//! A group member against a scripted coordinator.
