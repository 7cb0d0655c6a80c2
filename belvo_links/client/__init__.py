"""The async session layer: it runs operations, feeds the machine and hands out pending sessions."""
