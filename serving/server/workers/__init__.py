"""Several processes that act as one server: a supervisor, and workers that share its sockets."""
