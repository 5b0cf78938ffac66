CREATE DATABASE pupctl_demo
