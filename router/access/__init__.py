"""Who may open a preview that is not public: what visitors bring, and what is made of it."""
