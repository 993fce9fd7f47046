\s*177\s+E\s+L\s+F
