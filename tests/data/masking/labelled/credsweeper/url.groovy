url: mongodb://jrfdeg:dh3sjr8b@prod-best-sec.example.com:32768/architecture
