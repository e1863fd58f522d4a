from django.contrib.auth.models import User
from django.db import models
from viewflow.workflow.models import Process


class Quote(models.Model):
    id = models.CharField(max_length=64, primary_key=True)
    owner = models.ForeignKey(User, on_delete=models.PROTECT)
    status = models.CharField(max_length=20)
    version = models.IntegerField(default=0)
    digest = models.CharField(max_length=64)
    net_total = models.DecimalField(max_digits=16, decimal_places=4)
    body = models.JSONField()


class QuoteApproval(Process):
    quote = models.ForeignKey(Quote, on_delete=models.CASCADE)


class AuditEntry(models.Model):
    quote = models.ForeignKey(Quote, on_delete=models.CASCADE)
    actor = models.CharField(max_length=64)
    verb = models.CharField(max_length=20)
    facts = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)


class Letter(models.Model):
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    sent = models.IntegerField(default=0, db_index=True)
