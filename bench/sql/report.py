def write(numbers, folder):
    pass
