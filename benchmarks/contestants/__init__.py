"""What Bedside is compared with: programs that run on their own, in their own virtual environments where need be."""
