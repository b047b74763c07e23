"""The child's side of the bridge: everything here runs where tfmot is imported, and only there."""
