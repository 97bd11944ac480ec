"""The robot's side: the guards, the link and a driver, put together into a program that runs on (or beside) a robot."""
