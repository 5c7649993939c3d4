from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("retrytasks", "0008_unique"),
    ]

    operations = [
        migrations.AddField(
            model_name="tally",
            name="expired_count",
            field=models.PositiveIntegerField(
                db_default=0,
                help_text="Tasks that were discarded, since no worker had started them in time.",
                verbose_name="expired count",
            ),
        ),
    ]
